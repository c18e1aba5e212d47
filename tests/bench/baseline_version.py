"""The baseline for `--version`: a minimal Typer app that has the option."""

import typer

app = typer.Typer()


def show(asked: bool) -> None:
    if asked:
        print("1.0.0")
        raise typer.Exit


@app.command()
def main(version: bool = typer.Option(False, "--version", callback=show, is_eager=True)) -> None:
    print(version)


app(prog_name="bare")
