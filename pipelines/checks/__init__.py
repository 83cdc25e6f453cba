"""The asset checks: what shows that something is wrong with the data without making a run red.

`tables` generates checks from the tables' own metadata, `library` holds those about users' files, `publications`
those about what is derived and published. A check blocks only where a publication must not go on.
"""

from pipelines.checks.library import LIBRARY_CHECKS
from pipelines.checks.publications import PUBLICATION_CHECKS
from pipelines.checks.tables import TABLE_CHECKS

ALL = [*TABLE_CHECKS, *LIBRARY_CHECKS, *PUBLICATION_CHECKS]
"""Every check that runs as a step of its own; the recall of the index is measured by the asset itself."""
