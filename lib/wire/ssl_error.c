/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/ssl_error.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

struct reason_text {
    int reason;
    int code;
    const char *text;
};

/* With an alert the other side tells, before it closes, what it found wrong with this side. */
static const struct reason_text reasons[] = {
    {SSL_R_TLSV1_ALERT_UNKNOWN_CA, -EACCES,
     "the other side refused this side's certificate: another authority signed it; "
     "have the agent join again (`blxrep dispatcher enroll --token`)"},
    {SSL_R_SSLV3_ALERT_BAD_CERTIFICATE, -EACCES,
     "the other side refused this side's certificate: it is not right for its purpose or its name"},
    {SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE, -EACCES,
     "the other side refused this side's certificate: it was not made for this purpose"},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED, -EACCES,
     "the other side refused this side's certificate: it is revoked"},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED, -EACCES,
     "the other side refused this side's certificate: it has expired, or a clock is wrong"},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN, -EACCES,
     "the other side refused this side's certificate"},
    {SSL_R_TLSV1_ALERT_ACCESS_DENIED, -EACCES, "the other side denied this side access"},
    {SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED, -EACCES,
     "the other side wants a certificate, and this side has sent none"},
    {SSL_R_TLSV1_ALERT_PROTOCOL_VERSION, -EPROTO, "the other side does not speak TLS 1.3"},
    {SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL, -EPROTO,
     "the other side speaks TLS, but not blxrep/1"},
    {SSL_R_NO_APPLICATION_PROTOCOL, -EPROTO, "the other side speaks TLS, but not blxrep/1"},
    /* The server's callback for the ClientHello refuses a client that offers no ALPN. */
    {SSL_R_CALLBACK_FAILED, -EPROTO, "the other side speaks TLS, but not blxrep/1"},
    {SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE, -EPROTO,
     "the other side found no common way to speak TLS"},
    {SSL_R_WRONG_VERSION_NUMBER, -EPROTO, "the other side does not speak TLS (plaintext?)"},
    {SSL_R_HTTP_REQUEST, -EPROTO, "the other side speaks plain HTTP, not TLS"},
    {SSL_R_HTTPS_PROXY_REQUEST, -EPROTO, "the other side speaks plain HTTP, not TLS"},
    {SSL_R_UNSUPPORTED_PROTOCOL, -EPROTO, "the other side does not speak TLS 1.3"},
    {SSL_R_NO_PROTOCOLS_AVAILABLE, -EPROTO, "the other side does not speak TLS 1.3"},
    {SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE, -EACCES, "the other side has sent no certificate"},
    {SSL_R_UNEXPECTED_EOF_WHILE_READING, -EPIPE, "the other side closed the connection"},
};

const char *blx_ssl_reason(void)
{
    const char *text = ERR_reason_error_string(ERR_peek_error());
    ERR_clear_error();
    return text == NULL ? "unknown error" : text;
}

static int library_error(struct blx_error *err)
{
    int reason = ERR_GET_REASON(ERR_peek_error());
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
        if (reasons[i].reason == reason) {
            ERR_clear_error();
            return blx_error_set(err, reasons[i].code, "%s", reasons[i].text);
        }
    }
    return blx_error_set(err, -EPROTO, "TLS failed: %s", blx_ssl_reason());
}

int blx_ssl_error(int ssl_error, int saved_errno, struct blx_error *err)
{
    if (ssl_error == SSL_ERROR_SSL)
        return library_error(err);
    ERR_clear_error();
    if (ssl_error == SSL_ERROR_SYSCALL && saved_errno != 0 && saved_errno != EPIPE)
        return blx_error_errno(err, -saved_errno, "the connection failed");
    return blx_error_set(err, -EPIPE, "the other side closed the connection");
}
