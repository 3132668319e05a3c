"""Write the page of orders and its picture: ``python -m tests.orders``."""

from tests.orders import page


def main() -> None:
    """Write what has changed, and say so."""
    for path, content in page.made().items():
        if not path.exists() or path.read_text(encoding="utf-8") != content:
            path.write_text(content, encoding="utf-8")
            print(f"written: {path.relative_to(page.FOLDER.parents[1])}")


if __name__ == "__main__":
    main()
