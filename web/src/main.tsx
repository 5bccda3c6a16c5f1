import { render } from "preact";
import { App } from "./app";
import { connect } from "./connection";
import "./style.css";

connect();
render(<App />, document.getElementById("app")!);
