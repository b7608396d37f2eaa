/* The particle's tab: the frame's keys work while it is open, wherever the focus is. */
faultwatch.keys("particle", (event) => faultwatch.frame.key(event));
