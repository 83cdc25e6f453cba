"""What is learned from use: derived from rows that use leaves behind, never asked of anybody.

Belongs here: deriving, in steps that are bounded and committed one by one. Does not: recording use (`warehouse.jobs`,
`warehouse.audit`), and what is made of it when something is recommended (the API).
"""

from warehouse.learning.pairs import PARTNERS, count_pairs, pairs_due, partners_of
from warehouse.learning.profiles import Profile, derive_profiles, profile_of, profiles_due

__all__ = [
    "PARTNERS",
    "Profile",
    "count_pairs",
    "derive_profiles",
    "pairs_due",
    "partners_of",
    "profile_of",
    "profiles_due",
]
