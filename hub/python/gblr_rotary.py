"""Rotary positions (Su et al. 2021) with the scalings of transformers: the settings in config.json, the angles of all
positions, and the rotation of queries and keys.
"""

import math
from types import SimpleNamespace

import torch

from gblr_llama_settings import number_setting, setting_problem, shown


def rotary_settings(fields, sizes):
    """Reads the settings under their old names (`rope_theta`, `rope_scaling`) or new ones (`rope_parameters`). Defaults
    and precedence are those of transformers.

    fields: of config.json. sizes: head, positions and theta, the base frequency if config.json has none.
    Raises a ValueError of one line for a type or a value that is not supported.
    """
    given, path = _given_settings(fields)
    kind = given.get("rope_type") or given.get("type") or "default"
    unknown = [name for name, value in given.items() if name not in ROTARY_FIELDS and value is not None]
    if unknown:
        raise setting_problem(f"{path}{unknown[0]} is {shown(given[unknown[0]])}, which is not computed here")
    if not isinstance(kind, str) or kind not in ROTARY_KINDS:
        name = path + ("rope_type" if "rope_type" in given else "type")
        raise setting_problem(f"{name} is {shown(kind)}, there is {', '.join(ROTARY_KINDS)}")
    outer = number_setting(fields, "", "partial_rotary_factor", 1.0)
    share = number_setting(given, path, "partial_rotary_factor", outer)
    width = int(sizes.head * share)
    least = 4 if kind == "dynamic" else 2
    if width % 2 != 0 or not least <= width <= sizes.head:
        is_ = f"head_dim × partial_rotary_factor is {sizes.head} × {share}"
        raise setting_problem(f"{is_}: must be even, at least {least} and at most {sizes.head}")
    own = number_setting(given, path, "original_max_position_embeddings", sizes.positions)
    settings = SimpleNamespace(
        kind=kind,
        width=width,
        theta=number_setting(given, path, "rope_theta", number_setting(fields, "", "rope_theta", sizes.theta, 1), 1),
        positions=sizes.positions,
        original=number_setting(fields, "", "original_max_position_embeddings", own),
    )
    vars(settings).update(ROTARY_READERS.get(kind, lambda *_: {})(given, path, settings))
    return settings


def _given_settings(fields):
    """The object with the settings, and its name in errors. `rope_scaling` precedes, unless it is empty."""
    for name in ("rope_scaling", "rope_parameters"):
        found = fields.get(name) or {}
        if not isinstance(found, dict):
            raise setting_problem(f"{name} is {shown(found)}: expected an object")
        if found:
            return found, f"{name}."
    return {}, "rope_parameters."


def rotary_angles(settings, tokens):
    """cos and sin of the angles of positions 0 ... tokens - 1, each (tokens, r / 2), for r rotated components. Computed in
    float32 with the operations of transformers, because late positions multiply the rounding of the frequencies."""
    frequencies, scale = ROTARY_KINDS[settings.kind](settings, tokens)
    angles = torch.arange(tokens).float()[:, None] * frequencies
    return angles.cos() * scale, angles.sin() * scale


def rotate(x, cos, sin):
    """Rotates x (batch, heads, tokens, head_dim): component i < r / 2 with component i + r / 2. Components from r on are
    left as they are. cos, sin: (tokens, r / 2)."""
    half = cos.shape[1]
    first, second, rest = x.split([half, half, x.shape[-1] - 2 * half], 3)
    return torch.cat([first * cos - second * sin, second * cos + first * sin, rest], 3)


def _rotary_waves(settings, theta=None):
    """theta^(2 i / r) for i = 0, 1, ..., in positions per radian."""
    return (settings.theta if theta is None else theta) ** (torch.arange(0, settings.width, 2).float() / settings.width)


def _dynamic_scaling(settings, tokens):
    """A theta that grows with sequences that are longer than the model's positions."""
    length, width = max(tokens, settings.positions), settings.width
    stretch = settings.factor * length / settings.positions - (settings.factor - 1)
    return 1.0 / _rotary_waves(settings, settings.theta * stretch ** (width / (width - 2))), 1.0


def _llama3_scaling(settings, _):
    """Low frequencies are divided by `factor`, high ones are kept, those between are interpolated (Llama 3.1)."""
    frequencies = 1.0 / _rotary_waves(settings)
    waves = 2 * math.pi / frequencies
    smooth = (settings.original / waves - settings.low) / (settings.high - settings.low)
    between = (1 - smooth) * frequencies / settings.factor + smooth * frequencies
    low, high = waves > settings.original / settings.low, waves < settings.original / settings.high
    return torch.where(low, frequencies / settings.factor, torch.where(high, frequencies, between)), 1.0


def _yarn_scaling(settings, _):
    """YaRN (Peng et al. 2023): divides low frequencies, keeps high ones, and scales cos and sin."""
    width = settings.width

    def component(turns):
        """The component that makes this many turns in the original length."""
        return width * math.log(settings.original / (turns * 2 * math.pi)) / (2 * math.log(settings.theta))

    low, high = component(settings.fast), component(settings.slow)
    if settings.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, width - 1)
    ramp = (torch.arange(width // 2).float() - low) / ((high - low) or 0.001)
    kept = 1 - ramp.clamp(0, 1)
    waves = _rotary_waves(settings)
    return 1.0 / (settings.factor * waves) * (1 - kept) + 1.0 / waves * kept, settings.scale


ROTARY_KINDS = {
    "default": lambda settings, _: (1.0 / _rotary_waves(settings), 1.0),
    "linear": lambda settings, _: (1.0 / _rotary_waves(settings) / settings.factor, 1.0),
    "dynamic": _dynamic_scaling,
    "llama3": _llama3_scaling,
    "yarn": _yarn_scaling,
}
"""By rope_type, from the settings and the number of tokens to the frequencies in radians per position, (r / 2), and the
factor of cos and sin."""


def _read_factor(given, path, _):
    return {"factor": number_setting(given, path, "factor", least=1)}


def _read_llama3(given, path, settings):
    low, high = (number_setting(given, path, name) for name in ("low_freq_factor", "high_freq_factor"))
    if high <= low:
        raise setting_problem(f"{path}high_freq_factor must be above low_freq_factor {low}, is {high}")
    return {**_read_factor(given, path, settings), "low": low, "high": high}


def _read_yarn(given, path, settings):
    factor = number_setting(given, path, "factor", settings.positions / settings.original, least=1)

    def scale(weight):
        return 0.1 * weight * math.log(factor) + 1.0 if factor > 1 else 1.0

    mscale, all_dim = given.get("mscale"), given.get("mscale_all_dim")
    usual = scale(mscale) / scale(all_dim) if mscale and all_dim else scale(1.0)
    return {
        "factor": factor,
        "fast": number_setting(given, path, "beta_fast", 32),
        "slow": number_setting(given, path, "beta_slow", 1),
        "truncate": given.get("truncate") is not False,
        "scale": number_setting(given, path, "attention_factor", usual),
    }


ROTARY_READERS = {"linear": _read_factor, "dynamic": _read_factor, "llama3": _read_llama3, "yarn": _read_yarn}
"""By rope_type, readers of the settings that not all types have."""

ROTARY_FIELDS = {
    "rope_type", "type", "rope_theta", "partial_rotary_factor", "factor", "original_max_position_embeddings",
    "low_freq_factor", "high_freq_factor", "attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim",
    "truncate",
}  # fmt: skip
"""Settings that some type has. A type ignores those of the others, as in transformers."""
