"""Reads the config.json of image models in the formats of timm and Hugging Face. Settings that would change the
computation in an unsupported way raise a ValueError that names them.
"""


def is_timm(fields):
    """Whether the config.json is in the format of timm."""
    return isinstance(fields.get("architecture"), str)


def timm_name(fields):
    """The architecture without the tag of its weights, such as `vit_base_patch16_224`."""
    return fields["architecture"].split(".")[0]


def timm_arguments(fields, known, defaults):
    """The arguments of the model. Arguments that are not `known` must have their `defaults`."""
    arguments = dict(fields.get("model_args") or {})
    if fields.get("global_pool") is not None:
        arguments.setdefault("global_pool", fields["global_pool"])
    for name, value in arguments.items():
        if name in known or (name in defaults and defaults[name] == value):
            continue
        if name == "num_classes" and value == timm_classes(fields):
            continue
        raise ValueError(f"config.json: model_args.{name} is {value!r}, which is not supported")
    return {name: value for name, value in arguments.items() if value is not None}


def timm_fields(fields):
    """The fields that describe the checkpoint: `pretrained_cfg`, or all fields of older files without it."""
    pretrained = fields.get("pretrained_cfg")
    return fields if pretrained is None else pretrained


def timm_classes(fields):
    """The number of classes; 1000 if the file does not have it, as in timm."""
    return fields.get("num_classes") or timm_fields(fields).get("num_classes") or 1000


def timm_labels(fields):
    """The labels in the order of classes, as a list; empty if there are none. Older files call them `labels`."""
    places = ((part, key) for key in ("label_names", "labels") for part in (fields, timm_fields(fields)))
    names = next((part[key] for part, key in places if part.get(key)), [])
    return [names[key] for key in sorted(names, key=int)] if isinstance(names, dict) else list(names)


def timm_input(fields):
    """Color channels and side of images; the side is None if the file does not have it."""
    size = timm_fields(fields).get("input_size") or (3, None, None)
    if size[1] != size[2]:
        raise ValueError(f"config.json: input_size is {size}: images must be square")
    return size[0], size[1]


def class_count(fields):
    """The number of classes: transformers stores labels, or their number, or neither if there are two."""
    labels = fields.get("id2label")
    return len(labels) if isinstance(labels, dict) else fields.get("num_labels") or 2


def square(side, field):
    """The side of a square, which may be given as a number or twice in a list."""
    sides = set(side) if isinstance(side, (list, tuple)) else {side}
    if len(sides) != 1:
        raise ValueError(f"config.json: {field} is {side}: images and patches must be square")
    return sides.pop()


def chosen(fields, field, choices, default):
    """The value of a field, which must be one of `choices`."""
    value = fields.get(field, default)
    if value not in choices:
        known = ", ".join(map(repr, choices))
        raise ValueError(f"config.json: {field} is {value!r}; available: {known}")
    return value
