"""How each generator is trained, one file each, named as the generator is."""
