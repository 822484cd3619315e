package storage

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// Kinds of records; their keys are made by recordKey, their values are JSON.
const (
	recordSite     = "site"      // by domain
	recordNextSite = "next-site" // the next Site.ID, so that none is ever used twice
	recordRemoved  = "removed"   // by Site.ID: a site whose keys are being deleted
	recordHealth   = "health"    // written to see whether writing works
	recordOwner    = "owner"
	recordSetup    = "setup"
	recordToken    = "token" // by ID
	recordLogin    = "login" // by hash of the secret, with a time to live
)

// Scope is what a token allows its holder to do with one site; nothing beyond it.
type Scope string

// Scopes. A token has one, so that the secret that lies on a web server to count does not also show the numbers.
const (
	ScopeStats Scope = "stats" // read the site's numbers through the Stats API
	ScopeCount Scope = "count" // count hits on behalf of visitors, and say their address and user agent
)

// Token lets a program do something with one site. The secret itself is not kept.
type Token struct {
	ID      string    `json:"id"` // short, to name it for RevokeToken
	Site    uint32    `json:"site"`
	Created time.Time `json:"created"`
	Hash    string    `json:"hash"`            // SHA-256 of the secret: it is random, so it needs no salt
	Scope   Scope     `json:"scope,omitempty"` // tokens from before there were scopes have none; see May
}

// May tells whether a token allows something. One without a scope allows what all tokens did before there were scopes.
func (t Token) May(scope Scope) bool { return cmp.Or(t.Scope, ScopeStats) == scope }

// Owner is the person who administers this server.
type Owner struct {
	PasswordHash string    `json:"password_hash"` // PHC string: argon2id with its parameters and salt
	Created      time.Time `json:"created"`
}

// setup is the state of the one-time link.
type setup struct {
	Hash  string    `json:"hash,omitempty"` // empty once used
	Until time.Time `json:"until"`
}

// tokenIDLen is the length of a token's ID: the beginning of the secret's hash, long enough never to meet another.
const tokenIDLen = 12

// newSecret returns 32 random bytes as text that is safe in URLs and cookies.
func newSecret() string {
	var b [32]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return base64.RawURLEncoding.EncodeToString(b[:])
}

func hashSecret(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// getRecord reads a record into v, or returns ErrNotFound.
func getRecord(txn *badger.Txn, kind, name string, v any) error {
	item, err := txn.Get(recordKey(kind, name))
	if errors.Is(err, badger.ErrKeyNotFound) {
		return fmt.Errorf("%s: %w", kind, ErrNotFound)
	}
	if err != nil {
		return err
	}
	return item.Value(func(b []byte) error {
		if err := json.Unmarshal(b, v); err != nil {
			return corruptf("record %s: %v", kind, err)
		}
		return nil
	})
}

func setRecord(txn *badger.Txn, kind, name string, v any, ttl time.Duration) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	e := badger.NewEntry(recordKey(kind, name), b)
	if ttl > 0 {
		e = e.WithTTL(ttl)
	}
	return txn.SetEntry(e)
}

// eachRecord calls fn with the value of every record of a kind, in the order of names.
func eachRecord(txn *badger.Txn, kind string, fn func(value []byte) error) error {
	it := txn.NewIterator(badger.IteratorOptions{Prefix: recordKey(kind, "")})
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		if err := it.Item().Value(fn); err != nil {
			return err
		}
	}
	return nil
}

// CreateToken makes a token for a site and returns its secret, which cannot be had again.
func (db *DB) CreateToken(site uint32, scope Scope) (t Token, secret string, err error) {
	if !db.alive(site) {
		return t, "", fmt.Errorf("create token: site %d: %w", site, ErrNotFound)
	}
	secret = newSecret()
	t = Token{Site: site, Created: db.now().UTC(), Hash: hashSecret(secret), Scope: scope}
	t.ID = t.Hash[:tokenIDLen]
	err = db.update(func(txn *badger.Txn) error { return setRecord(txn, recordToken, t.ID, t, 0) })
	return t, secret, err
}

// TokenOf returns the token that a secret belongs to, or ErrNotFound. What it allows is for the caller to ask (Token.May).
func (db *DB) TokenOf(secret string) (Token, error) {
	hash := hashSecret(secret)
	var t Token
	err := db.view(func(txn *badger.Txn) error { return getRecord(txn, recordToken, hash[:tokenIDLen], &t) })
	if err != nil {
		return Token{}, err
	}
	if t.Hash != hash || !db.alive(t.Site) {
		return Token{}, fmt.Errorf("token: %w", ErrNotFound)
	}
	return t, nil
}

// Tokens lists the tokens of all sites.
func (db *DB) Tokens() ([]Token, error) {
	var all []Token
	err := db.view(func(txn *badger.Txn) error {
		return eachRecord(txn, recordToken, func(v []byte) error {
			var t Token
			err := json.Unmarshal(v, &t)
			all = append(all, t)
			return err
		})
	})
	return all, err
}

// RevokeToken deletes a token by its ID, or returns ErrNotFound.
func (db *DB) RevokeToken(id string) error {
	return db.update(func(txn *badger.Txn) error {
		var t Token
		if err := getRecord(txn, recordToken, id, &t); err != nil {
			return err
		}
		return txn.Delete(recordKey(recordToken, id))
	})
}

// Owner returns the owner; ok is false before set-up.
func (db *DB) Owner() (o Owner, ok bool, err error) {
	err = db.view(func(txn *badger.Txn) error { return getRecord(txn, recordOwner, "", &o) })
	if errors.Is(err, ErrNotFound) {
		return o, false, nil
	}
	return o, err == nil, err
}

// SetOwner stores the owner and ends all logins.
func (db *DB) SetOwner(o Owner) error {
	err := db.update(func(txn *badger.Txn) error { return setRecord(txn, recordOwner, "", o, 0) })
	if err != nil {
		return fmt.Errorf("set owner: %w", err)
	}
	return db.deletePrefix(recordKey(recordLogin, ""))
}

// CreateSetup issues the secret of a one-time set-up link. The earlier one, if any, is void.
func (db *DB) CreateSetup(validFor time.Duration) (secret string, err error) {
	secret = newSecret()
	s := setup{Hash: hashSecret(secret), Until: db.now().Add(validFor).UTC()}
	return secret, db.update(func(txn *badger.Txn) error { return setRecord(txn, recordSetup, "", s, 0) })
}

// SetupState tells whether a set-up secret was ever issued, and until when the last one is valid
// (zero if it was used).
func (db *DB) SetupState() (issued bool, until time.Time, err error) {
	var s setup
	err = db.view(func(txn *badger.Txn) error { return getRecord(txn, recordSetup, "", &s) })
	if errors.Is(err, ErrNotFound) {
		return false, time.Time{}, nil
	}
	if s.Hash == "" {
		s.Until = time.Time{}
	}
	return err == nil, s.Until, err
}

// CheckSetup returns nil if the secret is that of a valid set-up link, and ErrNotFound if not.
func (db *DB) CheckSetup(secret string) error {
	return db.view(func(txn *badger.Txn) error { return db.checkSetup(txn, secret) })
}

func (db *DB) checkSetup(txn *badger.Txn, secret string) error {
	var s setup
	if err := getRecord(txn, recordSetup, "", &s); err != nil {
		return err
	}
	if s.Hash != hashSecret(secret) || !db.now().Before(s.Until) {
		return fmt.Errorf("set-up link: %w", ErrNotFound)
	}
	return nil
}

// FinishSetup uses up the secret and stores the owner, in one step, and ends all logins; ErrNotFound if the
// secret is not valid (any more).
func (db *DB) FinishSetup(secret string, o Owner) error {
	db.records.Lock() // two requests with the same secret must not both pass the check
	defer db.records.Unlock()
	err := db.update(func(txn *badger.Txn) error {
		if err := db.checkSetup(txn, secret); err != nil {
			return err
		}
		if err := setRecord(txn, recordSetup, "", setup{Until: db.now().UTC()}, 0); err != nil {
			return err
		}
		return setRecord(txn, recordOwner, "", o, 0)
	})
	if err != nil {
		return fmt.Errorf("finish set-up: %w", err)
	}
	return db.deletePrefix(recordKey(recordLogin, ""))
}

// CreateLogin makes a login that lasts for validFor and returns its secret. Only a hash of it is kept.
func (db *DB) CreateLogin(validFor time.Duration) (secret string, err error) {
	secret = newSecret()
	until := db.now().Add(validFor).UTC()
	return secret, db.update(func(txn *badger.Txn) error {
		return setRecord(txn, recordLogin, hashSecret(secret), until, validFor)
	})
}

// CheckLogin returns nil if the secret is that of a login that has not ended, and ErrNotFound if not.
func (db *DB) CheckLogin(secret string) error {
	var until time.Time
	err := db.view(func(txn *badger.Txn) error { return getRecord(txn, recordLogin, hashSecret(secret), &until) })
	if err == nil && !db.now().Before(until) {
		return fmt.Errorf("login: %w", ErrNotFound)
	}
	return err
}

// EndLogin ends a login. An unknown secret is no error.
func (db *DB) EndLogin(secret string) error {
	return db.update(func(txn *badger.Txn) error { return txn.Delete(recordKey(recordLogin, hashSecret(secret))) })
}
