"""Computer-made people with everything known of them, to train and test without anyone's photographs.

assets: the files people are made of.  people: who somebody is.  wear: clothes on the body.  motion, poses: how
they move.  scene: cameras, places, light.  draw: pictures.  truth: joints, labels, surface.  make: shards of it all.
"""
