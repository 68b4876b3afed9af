"""Pretended card: a graphics card, or several, played by plain CPU tensors."""

from tests.helpers.pretended_card.card import PretendedCard
from tests.helpers.pretended_card.installed import pretended_card
from tests.helpers.pretended_card.ledger import Event

__all__ = ["Event", "PretendedCard", "pretended_card"]
