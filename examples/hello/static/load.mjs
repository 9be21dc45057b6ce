import hello from "/hello/rpc";

const output = document.getElementById("load");
setInterval(async () => { output.value = await hello.load(); }, 1000);
