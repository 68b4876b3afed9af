"""What runs on a graphics card, run on one that plain tensors play (`tests.helpers`)."""
