//! Stripe: customers, payments, invoices. <https://docs.stripe.com/api>
//!
//! Amounts are whole numbers of the currency's smallest unit: 1099 is 10.99 euros, or 1099 yen.

use levqor_core::types::Millis;

use crate::api::hook::{Hooks, Scheme, Told, at, heard, seconds};
use crate::api::{Api, Auth, Class, Faults, Next, Object, Pages, Style, Vendor, call, input, output};

static VENDOR: Vendor = Vendor {
    docs: "https://docs.stripe.com/api",
    base: "https://api.stripe.com",
    auth: &[Auth::Bearer("a secret or restricted key, `sk_…` or `rk_…`")],
    settings: &[
        ("account", "the connected account to act for, `acct_…`"),
        (
            "version",
            "the version of the interface, like `2025-09-30.clover`; the account's if not given",
        ),
    ],
    setting_headers: &[("account", "stripe-account"), ("version", "stripe-version")],
    budgets: &[(100, Millis::secs(1))],
    key_header: "idempotency-key",
    style: Style::BRACKETS,
    faults: Faults {
        codes: &["/error/code", "/error/type", "/error/decline_code"],
        rules: &[
            ("api_key_expired", Class::Expired),
            ("rate_limit", Class::RateLimited),
            ("lock_timeout", Class::RateLimited),
            ("resource_missing", Class::NotFound),
            ("idempotency_key_in_use", Class::Unavailable),
            ("idempotency_error", Class::Conflict),
            ("charge_already_refunded", Class::Conflict),
            ("payment_intent_unexpected_state", Class::Conflict),
            ("balance_insufficient", Class::Declined),
            ("card_error", Class::Declined),
        ],
        should_retry: "stripe-should-retry",
        ..Faults::HTTP
    },
    ..Vendor::new("stripe", "Stripe", "Customers, payments, invoices and refunds at Stripe.")
};

input! {
    CreateCustomer {
        /// The address.
        email: Option<String>,
        /// The name.
        name: Option<String>,
        /// The telephone number.
        phone: Option<String>,
        /// A note that the customer may see.
        description: Option<String>,
        /// `line1`, `city`, `postal_code`, `country`, ...
        address: Option<Object>,
        /// `name`, `phone` and `address` of deliveries.
        shipping: Option<Object>,
        /// A payment method to attach.
        payment_method: Option<String>,
        /// `default_payment_method` and the like.
        invoice_settings: Option<Object>,
        /// Languages, the best first.
        preferred_locales: Option<Vec<String>>,
        /// `none`, `exempt` or `reverse`.
        tax_exempt: Option<String>,
        /// Values of your own.
        metadata: Option<Object>,
    }

    ListCustomers {
        /// Only those with this address.
        email: Option<String>,
        /// Only those of a time: `gt`, `gte`, `lt`, `lte` in seconds since 1970.
        created: Option<Object>,
        /// Customers a page, at most 100.
        #[schemars(range(min = 1, max = 100))]
        limit: Option<u32>,
        /// The `next` of an earlier answer.
        starting_after: Option<String>,
    }

    SearchCustomers {
        /// A condition: `email:'ann@example.com' AND metadata['plan']:'pro'`.
        query: String,
        /// Customers a page, at most 100.
        #[schemars(range(min = 1, max = 100))]
        limit: Option<u32>,
        /// The `next` of an earlier answer.
        page: Option<String>,
    }

    CreatePaymentIntent {
        /// How much, in the currency's smallest unit.
        #[schemars(range(min = 1))]
        amount: i64,
        /// The currency in small letters: `eur`.
        currency: String,
        /// The customer.
        customer: Option<String>,
        /// A note that the customer may see.
        description: Option<String>,
        /// With what it is paid.
        payment_method: Option<String>,
        /// Ways to pay, if not those of the dashboard.
        payment_method_types: Option<Vec<String>>,
        /// `enabled`, `allow_redirects`.
        automatic_payment_methods: Option<Object>,
        /// Pays at once; needs `payment_method`.
        confirm: Option<bool>,
        /// `automatic`, `automatic_async` or `manual`.
        capture_method: Option<String>,
        /// The customer is not there; with `confirm`.
        off_session: Option<bool>,
        /// Where the receipt goes.
        receipt_email: Option<String>,
        /// Where the customer comes back to; with `confirm`.
        return_url: Option<String>,
        /// `on_session` or `off_session`: keeps the way to pay.
        setup_future_usage: Option<String>,
        /// `name` and `address` of the delivery.
        shipping: Option<Object>,
        /// What the statement says behind the name.
        statement_descriptor_suffix: Option<String>,
        /// The connected account that gets it.
        transfer_data: Option<Object>,
        /// The platform's part.
        application_fee_amount: Option<i64>,
        /// Values of your own.
        metadata: Option<Object>,
    }

    CreateCheckoutSession {
        /// `payment`, `subscription` or `setup`.
        mode: String,
        /// Where the customer comes back to.
        success_url: String,
        /// Where the customer comes back to without paying.
        cancel_url: Option<String>,
        /// What is bought: objects with `price` or `price_data`, and `quantity`.
        line_items: Option<Vec<Object>>,
        /// The customer.
        customer: Option<String>,
        /// The address of a customer that is not known yet.
        customer_email: Option<String>,
        /// Your own id of it.
        client_reference_id: Option<String>,
        /// Lets the customer type codes.
        allow_promotion_codes: Option<bool>,
        /// Discounts: objects with `coupon` or `promotion_code`.
        discounts: Option<Vec<Object>>,
        /// `enabled`: reckons taxes.
        automatic_tax: Option<Object>,
        /// Ways to pay, if not those of the dashboard.
        payment_method_types: Option<Vec<String>>,
        /// What the payment gets.
        payment_intent_data: Option<Object>,
        /// What the subscription gets: `trial_period_days` and the like.
        subscription_data: Option<Object>,
        /// The currency, where prices have several.
        currency: Option<String>,
        /// The language.
        locale: Option<String>,
        /// When it ends, in seconds since 1970.
        expires_at: Option<i64>,
        /// Values of your own.
        metadata: Option<Object>,
    }

    CreateInvoice {
        /// The customer.
        customer: Option<String>,
        /// `charge_automatically` or `send_invoice`.
        collection_method: Option<String>,
        /// With `send_invoice`: in how many days it is due.
        days_until_due: Option<u32>,
        /// Goes on by itself: is finished after an hour, and collected.
        auto_advance: Option<bool>,
        /// The currency.
        currency: Option<String>,
        /// A note that the customer sees.
        description: Option<String>,
        /// A line at the end.
        footer: Option<String>,
        /// The subscription that it is for.
        subscription: Option<String>,
        /// `include` or `exclude`: what becomes of items that wait.
        pending_invoice_items_behavior: Option<String>,
        /// `enabled`: reckons taxes.
        automatic_tax: Option<Object>,
        /// Discounts: objects with `coupon` or `promotion_code`.
        discounts: Option<Vec<Object>>,
        /// Values of your own.
        metadata: Option<Object>,
    }

    /// A refund of `charge` or `payment_intent`.
    Refund {
        /// The charge.
        charge: Option<String>,
        /// The payment.
        payment_intent: Option<String>,
        /// How much, in the currency's smallest unit; all of it if not given.
        #[schemars(range(min = 1))]
        amount: Option<i64>,
        /// `duplicate`, `fraudulent` or `requested_by_customer`.
        reason: Option<String>,
        /// Gives the platform's part back too.
        refund_application_fee: Option<bool>,
        /// Takes it back from the connected account.
        reverse_transfer: Option<bool>,
        /// Values of your own.
        metadata: Option<Object>,
    }

    CancelSubscription {
        /// The subscription's id.
        id: String,
        /// Writes an invoice of what was used and not yet billed.
        invoice_now: Option<bool>,
        /// Gives credit for what was paid and not used.
        prorate: Option<bool>,
        /// `comment` and `feedback`.
        cancellation_details: Option<Object>,
    }

    ListEvents {
        /// Only of this type: `invoice.paid`, or `invoice.*`.
        #[serde(rename = "type")]
        kind: Option<String>,
        /// Only of these types.
        types: Option<Vec<String>>,
        /// Only those of a time: `gt`, `gte`, `lt`, `lte` in seconds since 1970.
        created: Option<Object>,
        /// Only those whose delivery failed, or did not.
        delivery_success: Option<bool>,
        /// Events a page, at most 100.
        #[schemars(range(min = 1, max = 100))]
        limit: Option<u32>,
        /// The `next` of an earlier answer.
        starting_after: Option<String>,
    }

    CreateTransfer {
        /// How much, in the currency's smallest unit.
        #[schemars(range(min = 1))]
        amount: i64,
        /// The currency in small letters: `eur`.
        currency: String,
        /// The connected account that gets it, `acct_…`.
        destination: String,
        /// A note.
        description: Option<String>,
        /// The charge that it comes from.
        source_transaction: Option<String>,
        /// What it belongs to.
        transfer_group: Option<String>,
        /// Values of your own.
        metadata: Option<Object>,
    }
}

output! {
    Customer {
        /// The customer's id.
        id: String,
        /// The address.
        email: Option<String>,
        /// The name.
        name: Option<String>,
        /// The telephone number.
        phone: Option<String>,
        /// What is owed (above zero) or in credit (below), in the currency's smallest unit.
        balance: Option<i64>,
        /// The currency.
        currency: Option<String>,
        /// When it was made, in seconds since 1970.
        created: Option<i64>,
        /// In live mode.
        livemode: Option<bool>,
        /// Values of your own.
        metadata: Option<Object>,
    }

    Customers {
        /// The customers, newest first.
        data: Vec<Customer>,
        /// What the next page is asked for with; null at the end.
        next: Option<String>,
    }

    PaymentIntent {
        /// The payment's id.
        id: String,
        /// `requires_payment_method`, `requires_confirmation`, `requires_action`, `processing`, `succeeded`, ...
        status: String,
        /// How much, in the currency's smallest unit.
        amount: i64,
        /// How much came in.
        amount_received: Option<i64>,
        /// The currency.
        currency: String,
        /// What the customer's browser goes on with.
        client_secret: Option<String>,
        /// What the customer has to do.
        next_action: Option<Object>,
        /// In live mode.
        livemode: Option<bool>,
        /// Values of your own.
        metadata: Option<Object>,
    }

    Session {
        /// The session's id.
        id: String,
        /// Where the customer pays.
        url: Option<String>,
        /// `open`, `complete` or `expired`.
        status: Option<String>,
        /// `paid`, `unpaid` or `no_payment_required`.
        payment_status: Option<String>,
        /// How much, in the currency's smallest unit.
        amount_total: Option<i64>,
        /// The currency.
        currency: Option<String>,
        /// When it ends, in seconds since 1970.
        expires_at: Option<i64>,
    }

    Invoice {
        /// The invoice's id.
        id: Option<String>,
        /// `draft`, `open`, `paid`, `uncollectible` or `void`.
        status: Option<String>,
        /// Its number.
        number: Option<String>,
        /// What is due, in the currency's smallest unit.
        amount_due: Option<i64>,
        /// What it comes to.
        total: Option<i64>,
        /// The currency.
        currency: Option<String>,
        /// Where the customer sees it.
        hosted_invoice_url: Option<String>,
        /// The invoice as PDF.
        invoice_pdf: Option<String>,
        /// Values of your own.
        metadata: Option<Object>,
    }

    Refunded {
        /// The refund's id.
        id: String,
        /// `pending`, `requires_action`, `succeeded`, `failed` or `canceled`.
        status: Option<String>,
        /// How much, in the currency's smallest unit.
        amount: i64,
        /// The currency.
        currency: String,
        /// Why.
        reason: Option<String>,
        /// Why it failed.
        failure_reason: Option<String>,
    }

    Subscription {
        /// The subscription's id.
        id: String,
        /// `canceled`, unless something is still to be done.
        status: String,
        /// When it was cancelled, in seconds since 1970.
        canceled_at: Option<i64>,
        /// When it ended, in seconds since 1970.
        ended_at: Option<i64>,
    }

    Event {
        /// The event's id.
        id: String,
        /// What happened: `invoice.paid`.
        #[serde(rename = "type")]
        kind: String,
        /// When, in seconds since 1970.
        created: i64,
        /// `object`, and `previous_attributes`.
        data: Object,
        /// In live mode.
        livemode: Option<bool>,
        /// The version that `data` is written in.
        api_version: Option<String>,
    }

    Events {
        /// The events, newest first.
        data: Vec<Event>,
        /// What the next page is asked for with; null at the end.
        next: Option<String>,
    }

    Transfer {
        /// The transfer's id.
        id: String,
        /// How much, in the currency's smallest unit.
        amount: i64,
        /// The currency.
        currency: String,
        /// When, in seconds since 1970.
        created: Option<i64>,
        /// What it belongs to.
        transfer_group: Option<String>,
    }
}

const LIST: Pages = Pages {
    items: "/data",
    next: Next::LastId("/has_more", "starting_after"),
};

/// The connector.
pub(crate) fn connector() -> Api {
    Api::new(
        &VENDOR,
        vec![
            call::<CreateCustomer, Customer>("create_customer", "Add a customer", "Adds a customer.")
                .post("v1/customers")
                .keyed(),
            call::<ListCustomers, Customers>("list_customers", "List customers", "Lists customers, newest first.")
                .get("v1/customers")
                .pages(LIST),
            call::<SearchCustomers, Customers>("search_customers", "Search customers", "Finds customers by a condition.")
                .get("v1/customers/search")
                .pages(Pages {
                    items: "/data",
                    next: Next::Cursor("/next_page", "page"),
                }),
            call::<CreatePaymentIntent, PaymentIntent>(
                "create_payment_intent",
                "Begin a payment",
                "Begins a payment, or makes it.",
            )
            .post("v1/payment_intents")
            .keyed(),
            call::<CreateCheckoutSession, Session>(
                "create_checkout_session",
                "Make a checkout page",
                "Makes a page where a customer pays.",
            )
            .post("v1/checkout/sessions")
            .keyed(),
            call::<CreateInvoice, Invoice>("create_invoice", "Make an invoice", "Makes the draft of an invoice.")
                .post("v1/invoices")
                .keyed(),
            call::<Refund, Refunded>("refund", "Give money back", "Gives back a payment, all of it or a part.")
                .post("v1/refunds")
                .destructive()
                .keyed(),
            call::<CancelSubscription, Subscription>(
                "cancel_subscription",
                "Cancel a subscription",
                "Ends a subscription at once.",
            )
            .delete("v1/subscriptions/{id}"),
            call::<ListEvents, Events>(
                "list_events",
                "List events",
                "Lists what happened in the last 30 days, newest first.",
            )
            .get("v1/events")
            .pages(LIST),
            call::<CreateTransfer, Transfer>("create_transfer", "Send money", "Sends money to a connected account.")
                .post("v1/transfers")
                .destructive()
                .keyed(),
        ],
    )
    .hears(hooks())
}

output! {
    /// Something that happened at Stripe.
    Happened {
        /// The event's id.
        id: String,
        /// What happened: `invoice.paid`.
        #[serde(rename = "type")]
        kind: String,
        /// When, in seconds since 1970.
        created: i64,
        /// `object`, and `previous_attributes`.
        data: Object,
        /// In live mode.
        livemode: Option<bool>,
        /// The connected account that it happened in.
        account: Option<String>,
        /// The version that `data` is written in.
        api_version: Option<String>,
    }
}

fn hooks() -> Hooks {
    let secret = ("webhook_secret", "what Stripe signs events with: the endpoint's `whsec_…`");
    let event = heard::<Happened>(
        "event",
        "Something happened",
        "Stripe tells of a payment, an invoice, a dispute.",
        |_, body| {
            vec![Told {
                id: at(body, "/id"),
                kind: at(body, "/type"),
                at: seconds(body, "/created"),
                data: body.clone(),
            }]
        },
    );
    Hooks::new(secret, Scheme::Pairs("stripe-signature"), vec![event])
}
