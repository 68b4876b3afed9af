"""Model families: what each is, as a row of data, and what its pipeline does around the network."""

from pipelines.families.registry import FAMILIES, load_family, register, spec_of
from pipelines.families.spec import FamilySpec, TextEncoder

__all__ = ["FAMILIES", "FamilySpec", "TextEncoder", "load_family", "register", "spec_of"]
