"""Model families: a registry that says what each is, and one file each that runs its network."""

from pipelines.families.registry import FAMILIES, load_family, register, spec_of
from pipelines.families.spec import FamilySpec, TextEncoder

__all__ = ["FAMILIES", "FamilySpec", "TextEncoder", "load_family", "register", "spec_of"]
