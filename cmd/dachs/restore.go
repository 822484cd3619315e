package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"dachs/storage"
)

// restoreCmd is `dachs restore`.
type restoreCmd struct {
	Files []string `arg:"" name:"file" help:"A full backup, then the increments that were made since, in their order; - for standard input."`
}

// Help implements kong's help of a command.
func (restoreCmd) Help() string {
	return "Restores into the directory of --data, which must be empty or missing. The data then is as it was at the last backup named. " +
		"With a key the new data is encrypted with it. If a restore is cut short, the directory cannot be used: delete it and begin again."
}

// Run implements the command.
func (c *restoreCmd) Run(ctx context.Context, a *app) error {
	key, err := a.key()
	if err != nil {
		return err
	}
	if _, err := findData(a.data); err != nil {
		return err
	}
	files := make([]storage.BackupFile, len(c.Files))
	show := newTransfer(a, io.Discard)
	defer show.line.clear()
	stdin := false
	for i, name := range c.Files {
		if files[i].Name, files[i].Reader = "standard input", io.TeeReader(a.stdin, show); name == "-" {
			if stdin {
				return usagef("restore: standard input can be only one of the backups")
			}
			stdin = true
			continue
		}
		f, err := os.Open(name)
		if err != nil {
			return usagef("restore: %w", err)
		}
		defer f.Close()
		files[i] = storage.BackupFile{Name: name, Reader: io.TeeReader(f, show)}
	}
	info, err := storage.Restore(ctx, a.data, storage.Options{EncryptionKey: key, Logger: a.logger, Now: a.now}, files...)
	if err != nil {
		return err
	}
	show.line.clear()
	_, err = fmt.Fprintf(a.stdout, "restored %s into %s, from %.1f MB\n", plural(info.Sites, "site"), a.data, float64(info.Bytes)/1e6)
	return err
}
