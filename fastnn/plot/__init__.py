"""Pictures, drawn with matplotlib (the extra ``plot``). Each returns the Axes and accepts one."""

from fastnn._support.validate import optional

with optional("fastnn.plot", "plot"):
    from fastnn.plot._classes import confusion as confusion
    from fastnn.plot._classes import decision_regions as decision_regions
    from fastnn.plot._classes import misclassified as misclassified
    from fastnn.plot._curves import comparison as comparison
    from fastnn.plot._curves import gradient_check as gradient_check
    from fastnn.plot._curves import history as history
    from fastnn.plot._curves import range_test as range_test
    from fastnn.plot._ideas import approach as approach
    from fastnn.plot._ideas import loss_along as loss_along
    from fastnn.plot._images import feature_maps as feature_maps
    from fastnn.plot._images import filters as filters
    from fastnn.plot._images import weights as weights
    from fastnn.plot._network import network as network
