// A profile-picture server of Fastify and sharp. `node server.js PORT DATA PROCESSES`.
import cluster from 'node:cluster';
import { randomBytes, scrypt as scryptOf } from 'node:crypto';
import fs from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';

import jwt from '@fastify/jwt';
import multipart from '@fastify/multipart';
import files from '@fastify/static';
import Database from 'better-sqlite3';
import Fastify from 'fastify';
import sharp from 'sharp';

const SIZES = [512, 128];
const UPLOAD_BYTES_MAX = 5 * 1024 * 1024;
const scrypt = promisify(scryptOf);

const [port, data, processes] = [Number(process.argv[2]), process.argv[3], Number(process.argv[4])];
const media = path.join(data, 'media');
const pictures = path.join(media, 'profile_pictures');

const database = new Database(path.join(data, 'db.sqlite3'));
database.pragma('journal_mode = WAL');
database.pragma('synchronous = FULL');
database.pragma('busy_timeout = 10000');

if (cluster.isPrimary) {
  database.exec(`CREATE TABLE IF NOT EXISTS profile (
    id INTEGER PRIMARY KEY, email TEXT NOT NULL UNIQUE, password TEXT NOT NULL, name TEXT NOT NULL,
    picture TEXT, updated_at TEXT NOT NULL)`);
  await fs.mkdir(pictures, { recursive: true });
  for (let number = 0; number < processes; number += 1) cluster.fork();
  process.on('SIGTERM', () => process.exit(0));
} else {
  await serve();
}

// The JPEG files of an upload, by size: one pipeline a size, as sharp's documentation shows it.
async function rendered(upload) {
  return Promise.all(SIZES.map((size) => sharp(upload)
    .rotate()
    .resize(size, size, { fit: 'cover' })
    .flatten({ background: '#ffffff' })
    .jpeg({ quality: 85 })
    .toBuffer()));
}

async function synced(name, flags, content) {
  const file = await fs.open(name, flags);
  try {
    if (content) await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
}

function shown(request, profile) {
  const base = `${request.protocol}://${request.host}/media`;
  const url = (size) => (profile.picture ? `${base}/profile_pictures/${profile.picture}-${size}.jpg` : `${base}/default/${size}.jpg`);
  return {
    user_id: String(profile.id),
    name: profile.name,
    profile_picture_url: url(SIZES[0]),
    profile_picture_thumbnail_url: url(SIZES.at(-1)),
    has_picture: Boolean(profile.picture),
    picture: profile.picture ? {
      id: profile.picture, width: SIZES[0], height: SIZES[0], urls: Object.fromEntries(SIZES.map((size) => [size, url(size)])),
    } : null,
    updated_at: profile.updated_at,
  };
}

async function serve() {
  const insert = database.prepare('INSERT INTO profile (email, password, name, updated_at) VALUES (?, ?, ?, ?)');
  const select = database.prepare('SELECT * FROM profile WHERE id = ?');
  const update = database.prepare('UPDATE profile SET picture = ?, updated_at = ? WHERE id = ?');
  // Immediate: a transaction that reads before it writes cannot wait for another one.
  const replace = database.transaction((id, picture) => {
    const { picture: old } = select.get(id);
    update.run(picture, new Date().toISOString(), id);
    return old;
  }).immediate;

  const app = Fastify({ bodyLimit: UPLOAD_BYTES_MAX + 65_536 });
  await app.register(jwt, { secret: await fs.readFile(path.join(data, 'secret'), 'utf8'), sign: { expiresIn: '6h' }, verify: { algorithms: ['HS256'] } });
  await app.register(multipart, { limits: { fileSize: UPLOAD_BYTES_MAX, files: 1 } });
  await app.register(files, { root: media, prefix: '/media/' });
  const authenticated = { onRequest: (request) => request.jwtVerify() };

  app.post('/api/auth/register/', async (request, reply) => {
    const { email, password } = request.body;
    const salt = randomBytes(16);
    const hash = await scrypt(password, salt, 32);
    const id = Number(insert.run(email, `${salt.toString('hex')}$${hash.toString('hex')}`, email.split('@')[0].slice(0, 50), new Date().toISOString()).lastInsertRowid);
    return reply.code(201).send({ access: app.jwt.sign({ user_id: id }), user_id: String(id) });
  });

  app.get('/api/users/me/profile/', authenticated, async (request) => shown(request, select.get(request.user.user_id)));

  app.post('/api/users/me/profile/picture/', authenticated, async (request, reply) => {
    const part = await request.file();
    if (part?.fieldname !== 'image') return reply.code(400).send({ image: ['No file was submitted.'] });
    const upload = await part.toBuffer();
    let images;
    try {
      const { format } = await sharp(upload).metadata();
      if (!['jpeg', 'png', 'heif'].includes(format)) throw new Error(format);
      images = await rendered(upload);
    } catch {
      return reply.code(400).send({ image: ['Upload a valid image.'] });
    }
    const picture = randomBytes(16).toString('hex');
    await Promise.all(images.map((image, index) => synced(path.join(pictures, `${picture}-${SIZES[index]}.jpg`), 'wx', image)));
    await synced(pictures, 'r');
    const old = replace(request.user.user_id, picture);
    if (old) await Promise.all(SIZES.map((size) => fs.rm(path.join(pictures, `${old}-${size}.jpg`), { force: true })));
    return shown(request, select.get(request.user.user_id));
  });

  await app.listen({ host: '127.0.0.1', port });
}
