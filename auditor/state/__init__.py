"""State kept between runs: the database, its history, recordings, and files written whole."""
