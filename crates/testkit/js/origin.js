// An HTTP/1.1 origin: node origin.js ADDRESS PORT FOLDER [KEY CERT]
//   /page-<n>  the file of that name in FOLDER
//   /echo      the body of the request, as it comes
//   /hints     103 with `link: </a.css>`, then 200 `hinted`
//   /trailers  `body` in chunks and the trailer `x-checked: yes`
'use strict';
const fs = require('fs');
const path = require('path');
const [address, port, folder, key, cert] = process.argv.slice(2);

function serve(request, response) {
  if (request.url === '/echo') {
    request.pipe(response);
  } else if (request.url === '/hints') {
    response.writeEarlyHints({ link: '</a.css>' });
    response.end('hinted');
  } else if (request.url === '/trailers') {
    response.writeHead(200, { trailer: 'x-checked' });
    response.write('body');
    response.addTrailers({ 'x-checked': 'yes' });
    response.end();
  } else {
    const file = path.join(folder, path.basename(request.url));
    fs.stat(file, (error, found) => {
      if (error) {
        response.writeHead(404).end('no such page here');
        return;
      }
      response.writeHead(200, { 'content-length': found.size });
      fs.createReadStream(file).pipe(response);
    });
  }
}

const server = key
  ? require('https').createServer({ key: fs.readFileSync(key), cert: fs.readFileSync(cert) }, serve)
  : require('http').createServer(serve);
server.listen(Number(port), address);
