"""Agreement between people, scorers and judges: one computation for all of them.

The coefficients are our own few lines of numpy: the one library that has them under a free
licence pins a scipy that is years old, the maintained one for Krippendorff's alpha is GPL.
"""

from flames.metrics.agreement._coefficients import (
    Level,
    Weights,
    cohen_kappa,
    confusion_matrix,
    krippendorff_alpha,
    percent_agreement,
)
from flames.metrics.agreement._report import (
    Agreement,
    GroupAgreement,
    PairAgreement,
    RaterAgreement,
    Ratings,
    measure_agreement,
    ratings_of,
)

__all__ = [
    "Agreement",
    "GroupAgreement",
    "Level",
    "PairAgreement",
    "RaterAgreement",
    "Ratings",
    "Weights",
    "cohen_kappa",
    "confusion_matrix",
    "krippendorff_alpha",
    "measure_agreement",
    "percent_agreement",
    "ratings_of",
]
