"""Why a particle has its class: in figures, in words and as a picture."""
