import 'reflect-metadata';
import { Logger } from '@nestjs/common';

// Hides the log of the code under test. DEBUG=1 shows it.
if (process.env['DEBUG'] === undefined) Logger.overrideLogger(false);
