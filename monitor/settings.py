"""The settings of a session: TOML file, then environment, then command line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, ValidationError, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from models.device.there import device_wanted
from monitor.errors import InputError

_Fraction = Annotated[float, Field(ge=0)]


class WatchSettings(BaseSettings):
    """Settings of `watch` and `replay`; kept in the record of every session.

    Each can stand in `faultwatch.toml` in the working folder, in the environment as `FAULTWATCH_<NAME>`, or
    on the command line; the later wins.
    """

    model_config = SettingsConfigDict(
        env_prefix="FAULTWATCH_", toml_file="faultwatch.toml", extra="forbid", env_ignore_empty=True
    )

    sources: list[str] = []
    """Directories and ZeroMQ addresses."""
    session: Path | None = None
    """The session's folder; None: sessions/<date>-<time> under the working folder."""
    bundle: Path | None = None
    """The model, or the name of one that comes with the program; None: the one that is shipped first."""
    pixel_size: PositiveFloat | None = None
    """For frames that do not say their own [nm/px]."""
    force_pixel_size: PositiveFloat | None = None
    """In place of what frames say [nm/px]."""
    movie: Literal["sum", "frames", "first"] | None = None
    """What becomes of a movie of one field in a file: its exposures are aligned and summed, or each is a frame, or the
    first alone is judged; None: they are summed. Other stacks are always judged frame by frame."""
    material: str | None = None
    """What the particles are made of; None: every material that the bundle knows is tried."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """What prepares frames, runs the network and measures particles; auto: a GPU, where torch finds one."""
    workers: PositiveInt | None = None
    """Worker processes; None: `default_workers()`. With a scheduler: so many of its workers at the most; None: all."""
    scheduler: str | None = None
    """Address of a Dask scheduler (tcp://host:8786), whose workers analyse instead of processes of this computer."""
    dashboard: bool = True
    """Open the page."""
    port: Annotated[int, Field(ge=0, le=65535)] = 5006
    """Of the page; 0: any free one."""
    share: bool = False
    """Whoever has one of two links may have the page, from other computers too; without, only this computer may."""
    host: str | None = None
    """The address at which the page listens; None: 127.0.0.1, and every one where it is shared."""
    prefix: str = ""
    """A path under which a reverse proxy has the page."""
    origin: list[str] = []
    """How browsers know the reverse proxy, as https://lab.example.org."""
    new_only: bool = False
    """Pass over what is in a directory already when the session begins."""
    latest_first: bool = False
    """Analyse the newest frame first, so that the page stays live; the backlog is worked off afterwards."""
    keep: Literal["all", "none"] | PositiveFloat = "all"
    """How much of the spool stays once analysed: all, none, or the last so many GB. What lies in a watched
    directory is never touched."""
    spool_gb: PositiveFloat | None = None
    """How much the spool may take, frames that wait and frames that stay together [GB]; None: what the disk
    has. When that is reached, senders that can wait have to, and frames of those that can't are dropped."""
    until_idle: _Fraction | None = None
    """End after so many seconds without anything to do; None: never."""

    publish: str | None = None
    """A ZeroMQ address (tcp://host:port) at which what is found is published as JSON; None: it is not."""
    on_alarm: str | None = None
    """A command, or an http address, that every alarm calls when it is raised and when it is cleared."""

    reconcile_s: PositiveFloat = 2.0
    """A directory is looked through this often, whatever the system says of it [s]. Where that takes long,
    it is done less often, so that it takes a tenth of the time at most."""
    quiet_s: PositiveFloat = 0.5
    """A file of which no closing was seen is finished when it has not changed for this long [s] ..."""
    quiet_s_per_gb: PositiveFloat = 4.0
    """... and so much more for every GB that it has [s/GB]."""
    patience_s: PositiveFloat = 10.0
    """A finished file whose content is not whole is rejected after so long [s]. Should it become
    whole after all, it is taken then."""
    time_limit_s: PositiveFloat = 120.0
    """An analysis that takes longer is ended with its worker [s]."""
    max_frame_mb: PositiveFloat = 512.0
    """A larger frame is refused at the socket [MiB]."""
    disk_reserve_mb: _Fraction = 200.0
    """So much of the disk is left free for the record; frames from sockets have to wait before that [MiB]."""
    curve_secret_key: str | None = Field(default=None, repr=False)
    """This computer's secret CURVE key (40 characters): sockets that are bound ask for its public half."""
    curve_server_key: str | None = None
    """The public CURVE key of the sender that a connecting socket expects."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Command line over environment over TOML file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @field_validator("bundle")
    @classmethod
    def _which_comes_with_the_program(cls, bundle: Path | None) -> Path | None:
        from models.bundle import by_name

        return None if bundle is None else by_name(bundle)

    @field_validator("spool_gb")
    @classmethod
    def _room_for_what_waits(cls, spool_gb: float | None, info: ValidationInfo) -> float | None:
        keep = info.data.get("keep")
        if spool_gb is not None and isinstance(keep, float) and keep >= spool_gb:
            raise ValueError(f"has to be more than keep ({keep:g} GB), or there is no room for new frames")
        return spool_gb

    def spool_limit(self) -> int | None:
        """How much the spool may take [bytes]; None: no limit."""
        return None if self.spool_gb is None else int(self.spool_gb * 1e9)

    def quiet_time(self, size: int) -> float:
        """How long a file of this size [bytes] must not have changed to count as finished [s]."""
        return self.quiet_s + self.quiet_s_per_gb * size / 1e9

    def page_arguments(self) -> list[str]:
        """What the command `dashboard` is told, so that it serves the page as these settings say."""
        told = ["--port", str(self.port), *(["--share"] if self.share else [])]
        for name, value in (
            ("--host", self.host),
            ("--prefix", self.prefix),
            *(("--origin", o) for o in self.origin),
        ):
            told += [f"{name}={value}"] if value else []
        return told

    def movie_mode(self) -> Literal["sum", "frames", "first"]:
        """What becomes of a movie of one field."""
        return self.movie or "sum"

    def worker_count(self) -> int:
        """How many worker processes there are to be: with a GPU, which does the most, one for each core."""
        if self.workers is not None:
            return self.workers
        return processors() if device_wanted(self.device) else default_workers()

    def kept(self) -> dict[str, Any]:
        """What of it belongs into the record: everything but secrets, as JSON."""
        return self.model_dump(mode="json", exclude={"curve_secret_key"})


def load_settings(**given: Any) -> WatchSettings:
    """The settings, with what the command line gave; options left at None come from the environment or the file.

    Raises
    ------
    InputError
        One of them can't be; the sentence says which, and what it has to be.
    """
    try:
        return WatchSettings(**{key: value for key, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(place) for place in first["loc"][:1]) or "settings"
        raise InputError(f"{name.replace('_', '-')}: {first['msg']} (given: {first['input']!r})") from error
    except SettingsError as error:
        raise InputError(f"the environment can't be read: {error}") from error
    except ValueError as error:
        raise InputError(f"faultwatch.toml can't be read: {error}") from error


def processors() -> int:
    """How many processor cores this program may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # not everywhere
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def default_workers() -> int:
    """A worker for each core, four at most.

    On two shared cores two workers with a thread each analysed 4.3 frames of 1024² a second, one worker with two
    threads 1.5; a worker takes about 380 MB.
    """
    return min(4, processors())
