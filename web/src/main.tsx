import { render } from "preact";
import { App } from "./app";
import { followHistory } from "./back";
import { connect } from "./connection";
import { restore } from "./photos";
import "./style.css";

connect();
void restore((history.state as { photo?: string } | null)?.photo).then(followHistory);
render(<App />, document.getElementById("app")!);
