"""Reads the config.json of image models as timm and Hugging Face write it: sizes, and what would change the computation
in a way that is not known here, which is refused by name. No tensors.
"""


def is_timm(fields):
    return isinstance(fields.get("architecture"), str)


def timm_name(fields):
    """`vit_base_patch16_224`, the tag of its weights left off."""
    return fields["architecture"].split(".")[0]


def timm_arguments(fields, known, defaults):
    """What the model was made with. Arguments that are not `known` must be at their `defaults`."""
    arguments = dict(fields.get("model_args") or {})
    if fields.get("global_pool") is not None:
        arguments.setdefault("global_pool", fields["global_pool"])
    for name, value in arguments.items():
        if name in known or (name in defaults and defaults[name] == value):
            continue
        if name == "num_classes" and value == timm_classes(fields):
            continue
        raise ValueError(f"config.json: model_args.{name} is {value!r}, which is not computed here")
    return {name: value for name, value in arguments.items() if value is not None}


def timm_fields(fields):
    """What the file says of the checkpoint itself: `pretrained_cfg`, or all of an older file that has none."""
    pretrained = fields.get("pretrained_cfg")
    return fields if pretrained is None else pretrained


def timm_classes(fields):
    return fields.get("num_classes") or timm_fields(fields).get("num_classes") or 1000


def timm_labels(fields):
    """Names in the order of their classes, a list, empty where there are none; `labels` is what older files call them."""
    places = ((part, key) for key in ("label_names", "labels") for part in (fields, timm_fields(fields)))
    names = next((part[key] for part, key in places if part.get(key)), [])
    return [names[key] for key in sorted(names, key=int)] if isinstance(names, dict) else list(names)


def timm_input(fields):
    """Colors of the images and their rows, which are as many as columns; None where the file does not say."""
    size = timm_fields(fields).get("input_size") or (3, None, None)
    if size[1] != size[2]:
        raise ValueError(f"config.json: input_size is {size}: images must be square")
    return size[0], size[1]


def class_count(fields):
    """transformers keeps labels, or their number, or neither and means two."""
    labels = fields.get("id2label")
    return len(labels) if isinstance(labels, dict) else fields.get("num_labels") or 2


def square(side, field):
    """The one number of a side that may be given twice."""
    sides = set(side) if isinstance(side, (list, tuple)) else {side}
    if len(sides) != 1:
        raise ValueError(f"config.json: {field} is {side}: images and patches must be square")
    return sides.pop()


def chosen(fields, field, choices, default):
    """A field's value, which must be one of these."""
    value = fields.get(field, default)
    if value not in choices:
        known = ", ".join(map(repr, choices))
        raise ValueError(f"config.json: {field} is {value!r}, there is {known}")
    return value
