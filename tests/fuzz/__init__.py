"""A campaign of mutated inputs over everything that reads what others wrote: `make fuzz`, and a smoke in the tests."""
