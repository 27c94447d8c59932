"""Shared by the tests of passive observation: a sink, and a look for hooks that were left."""

FIELDS = frozenset({"inputs", "outputs", "features", "output_gradients", "feature_gradients"})


class Keeps:
    """A sink that keeps copies of what it is told."""

    def __init__(self):
        self.told = {}

    def forward(self, number, key, field, tensor):
        self._take(number, key, field, tensor)

    def gradient(self, number, key, field, tensor):
        self._take(number, key, field, tensor)

    def _take(self, number, key, field, tensor):
        assert not tensor.requires_grad
        assert (number, key, field) not in self.told
        self.told[number, key, field] = tensor.clone()


def assert_no_hooks(model):
    for module in model.modules():
        for name, value in vars(module).items():
            if "hooks" in name:
                assert not value, (module, name)
