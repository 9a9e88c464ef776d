"""Files as they lie on the disk: who else can write them, and reading them within bounds."""
