"""`faultwatch bench`: what every stage of the analysis takes on this computer, and the least that it could take."""
