"""Files on disk: finds and identifies models, ControlNets and LoRAs, and reads them."""
