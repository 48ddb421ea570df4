// The jobs of render.rs by sharp, as its documentation shows it: one pipeline a size.
import fs from 'node:fs';
import readline from 'node:readline';
import sharp from 'sharp';

// Threads do not lower the CPU time, and a server has one upload a core.
sharp.concurrency(1);
sharp.cache(false);

let upload;
const square = (size) => sharp(upload).rotate().resize(size, size, { fit: 'cover' });

async function answer(line) {
  const [job, file] = line.split(/ (.*)/);
  switch (job) {
    case 'load':
      upload = fs.readFileSync(file);
      return upload.length;
    case 'render': {
      const sizes = [];
      for (const size of [512, 128]) {
        sizes.push((await square(size).jpeg({ quality: 85 }).toBuffer()).length);
      }
      return sizes.join(' ');
    }
    case 'pixels': {
      const { data, info } = await square(512).removeAlpha().toColourspace('srgb').raw().toBuffer({ resolveWithObject: true });
      fs.writeFileSync(file, data);
      return `${info.width} ${info.height}`;
    }
    default:
      throw new Error(`no such job: ${line}`);
  }
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  console.log(String(await answer(line)));
}
