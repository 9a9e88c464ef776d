"""Taking nodes out of production and putting them back, by one of several means."""
