"""The composition root: `kopf run -m quantroll.app`."""

import kopf

from quantroll.handlers import lifecycle, watches

registry = kopf.get_default_registry()
lifecycle.register(registry)
watches.register(registry)
