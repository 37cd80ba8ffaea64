require('workerpool').worker(require('./worker.cjs'));
