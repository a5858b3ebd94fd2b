// Migrations with Drizzle: `node drizzle.mjs PACKAGES sqlite|postgres PLACE FOLDER`, where PACKAGES is the
// folder that holds `node_modules`.

import { createRequire } from "node:module";
import path from "node:path";

const [packages, engine, place, migrationsFolder] = process.argv.slice(2);
const load = createRequire(path.join(packages, "package.json"));

if (engine === "sqlite") {
    const Database = load("better-sqlite3");
    const { drizzle } = load("drizzle-orm/better-sqlite3");
    const { migrate } = load("drizzle-orm/better-sqlite3/migrator");
    const database = new Database(place);
    database.pragma("journal_mode = WAL");
    migrate(drizzle(database), { migrationsFolder });
    database.close();
} else {
    const { Client } = load("pg");
    const { drizzle } = load("drizzle-orm/node-postgres");
    const { migrate } = load("drizzle-orm/node-postgres/migrator");
    const client = new Client({ connectionString: place });
    await client.connect();
    await migrate(drizzle(client), { migrationsFolder });
    await client.end();
}
