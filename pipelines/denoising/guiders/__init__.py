"""Guiders: what a guidance method asks of the network, and how it combines the outputs.

To add one: write a class with the methods of `base.Guider` in a file here, and a row in
`registry`. Menus, checks, the command line's table and the renderer read the row.
"""
