import 'reflect-metadata';
import { Logger } from '@nestjs/common';

// The log of code under test says nothing to a reader of test results; DEBUG=1 shows it.
if (process.env['DEBUG'] === undefined) Logger.overrideLogger(false);
