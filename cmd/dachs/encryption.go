package main

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"

	"dachs/storage"
)

// encryptionKeyEnv holds the key itself. There is no flag for it: everybody on the machine can read command lines.
const encryptionKeyEnv = "DACHS_ENCRYPTION_KEY"

// encryption is how every command that may open the store is told its key.
type encryption struct {
	KeyFile string `help:"File with the key that encrypts the data: 32 random bytes as base64 or hex, made with openssl rand -base64 32. DACHS_ENCRYPTION_KEY can hold the key itself instead." name:"encryption-key-file" env:"DACHS_ENCRYPTION_KEY_FILE" placeholder:"FILE"`
}

// key reads the key, nil if none is configured. Its errors never hold any of it.
func (e encryption) key() ([]byte, error) {
	text, inEnv := os.LookupEnv(encryptionKeyEnv)
	switch {
	case inEnv && e.KeyFile != "":
		return nil, usagef("both %s and --encryption-key-file are set: keep one of them", encryptionKeyEnv)
	case inEnv:
		return parseKey(encryptionKeyEnv, text)
	case e.KeyFile == "":
		return nil, nil
	}
	f, err := os.ReadFile(e.KeyFile)
	if err != nil {
		return nil, usagef("read --encryption-key-file: %w", err)
	}
	return parseKey("--encryption-key-file "+e.KeyFile, string(f))
}

// parseKey reads a key as people write it. An empty one is an error and not the absence of a key: a secret that was not
// filled in must not lead to a store in the clear.
func parseKey(source, text string) ([]byte, error) {
	text = strings.TrimSpace(text)
	key, err := hex.DecodeString(text)
	if err != nil {
		text = strings.TrimRight(text, "=")
		text = strings.NewReplacer("-", "+", "_", "/").Replace(text) // the alphabet for URLs
		key, err = base64.RawStdEncoding.DecodeString(text)
	}
	if err != nil || len(key) != storage.KeyBytes {
		return nil, usagef("%s: want %d random bytes as base64 or hex; make them with openssl rand -base64 %d", source, storage.KeyBytes, storage.KeyBytes)
	}
	return key, nil
}

// explainOpen adds to an error of opening the store which setting it is about.
func explainOpen(err error) error {
	for _, about := range []error{storage.ErrKeyMissing, storage.ErrKeyWrong, storage.ErrNotEncrypted} {
		if errors.Is(err, about) {
			return fmt.Errorf("%w (set with --encryption-key-file or %s)", err, encryptionKeyEnv)
		}
	}
	return fmt.Errorf("%w (set with --data)", err)
}
