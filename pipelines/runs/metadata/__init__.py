"""Settings that image generators write into pictures: a carrier each, a tool each."""
