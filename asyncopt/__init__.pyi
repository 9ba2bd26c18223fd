# The public names, and the rooms that they come from: read by type checkers and, at run time, by lazy_loader.
from . import analysis as analysis
from . import engine as engine
from . import optim as optim
from . import problems as problems
from . import runtime as runtime
from . import theory as theory
from . import traces as traces
from .checks import InputError as InputError
from .drawing.runs import plot_heatmap as plot_heatmap
from .drawing.runs import plot_runs as plot_runs
from .engine import replay as replay
from .engine.grid import sweep as sweep
from .files.records import load_runs as load_runs
from .optim import Box as Box
from .optim import L2Ball as L2Ball
from .optim import apam as apam
from .optim import delay_gradients as delay_gradients
from .optim import scale_by_apam as scale_by_apam

__version__: str
