import sys

from experiments.command import main

sys.exit(main())
