"""`python -m framework.cli` is `sitectl`."""

from framework.cli import main

raise SystemExit(main())
