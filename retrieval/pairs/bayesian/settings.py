"""Settings of the Bayesian pair."""

from pydantic import BaseModel, ConfigDict, Field

from retrieval.options import Preset


class BayesianSettings(BaseModel):
    """The size of the pair, and how much to spend on its inference."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    dimension: int = Field(
        default=32, ge=1, le=4096, description="components of the vectors that are drawn"
    )
    compressed: int = Field(
        default=64, ge=1, le=4096, description="components of the vectors that answer"
    )
    burn_in_windows: int = Field(
        default=6, ge=1, description="most windows of 20 sweeps before draws are kept"
    )
    tolerance: float = Field(
        default=2e-4, ge=0, description="gain in validation RMSE below which the burn-in ends"
    )
    draws: int = Field(default=75, ge=1, description="draws from the posterior that are kept")
    spacing: int = Field(default=2, ge=1, description="sweeps from one draw to the next")


def preset_settings(preset: Preset) -> BayesianSettings:
    """Return the settings of a preset."""
    match preset:
        case Preset.QUICK:
            return BayesianSettings(dimension=16, burn_in_windows=3, draws=30, spacing=1)
        case Preset.BEST:
            return BayesianSettings(
                dimension=64, burn_in_windows=12, tolerance=1e-4, draws=200, spacing=3
            )
        case Preset.DEFAULT | Preset.NOTEBOOK:
            return BayesianSettings()
