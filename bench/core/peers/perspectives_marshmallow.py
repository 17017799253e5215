# SPDX-License-Identifier: Apache-2.0
"""The peer: marshmallow's `dump` with `only=`, the schema made once, as its documentation does it. Prints states a second."""

import sys

from marshmallow import Schema, fields

from bench.core.perspectives_states import DEEP, FLAT, NUMBERS, REALS, TEXTS, measure

Flat = Schema.from_dict(
    {
        "tailnum": fields.String(),
        "since": fields.DateTime(),
        **{name: fields.String() for name in TEXTS},
        **{name: fields.Integer() for name in NUMBERS},
        **{name: fields.Float() for name in REALS},
    }
)


class Leg(Schema):
    """Two of its three fields."""

    origin = fields.String()
    miles = fields.Integer()


class Deep(Flat):
    """More than 20: some lie deeper, one is computed, one nested."""

    city = fields.String(attribute="position.city")
    leg = fields.Nested(Leg)
    late = fields.Function(lambda state: state["number1"] > 15)


if __name__ == "__main__":
    schema = Flat(only=FLAT) if sys.argv[1] == "flat" else Deep(only=DEEP)
    measure(lambda states: schema.dump(states, many=True))
