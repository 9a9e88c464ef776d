"""Documents that travel with the program: links to those of docs/, which stand in a wheel as files."""
