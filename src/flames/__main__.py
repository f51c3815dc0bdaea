"""`python -m flames`."""

from flames.cli import main

if __name__ == "__main__":
    main()
