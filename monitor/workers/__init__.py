"""What analyses frames: the processes of a session, one shot without one, and the second look of `verify`."""
