"""Active witnesses: who answers at a mesh address, asked over the mesh from other nodes."""
