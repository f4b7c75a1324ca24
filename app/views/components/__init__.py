"""The Components page: one head direction by direction, what putting one back does, and strategies over all heads."""
