"""`flames annotate`: human labels, from drawing responses to exports."""

from __future__ import annotations

import typer

from flames.cli.annotate import adjudicate, files, people, project, serve

app = typer.Typer(
    help="Label responses with people: draw a sample, serve the labelling pages, export.",
    no_args_is_help=True,
)
app.command("init")(project.init)
app.command("serve")(serve.serve)
app.add_typer(people.app, name="user")
app.command("status")(project.status)
app.command("agreement")(project.agreement)
app.command("adjudicate")(adjudicate.adjudicate)
app.command("sheet")(files.sheet)
app.command("import")(files.import_labels)
app.command("export")(files.export)
app.command("verify")(project.verify)
