'use strict';
// Hashes of passwords, found in worker processes.

const addon = require(process.env.HASHER_ADDON); // a package has it beside this file

if (require.main === module) {
  addon.workerMain(); // this file is the program of the workers, too
}

exports.start = () => addon.start(process.execPath, __filename);
exports.hashed = addon.hashed;
exports.stop = addon.stop;
